"""What the calls of a model are executed on; each follows eval.agent.Environment."""
