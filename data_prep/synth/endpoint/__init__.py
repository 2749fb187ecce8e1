"""The core of the pipelines that ask a model: stages, the requests they make, and the report of a run."""
