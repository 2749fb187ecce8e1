"""Where turns are generated: `hf` in process, `openai` at any compatible server (eval.protocol.Backend)."""
