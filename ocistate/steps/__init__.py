"""The steps that put stores, trust and targets together, for the CLI and the agent alike."""
