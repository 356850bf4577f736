"""The commands of ``llmbalance``: one module each, with ``run(words) -> exit code``."""
