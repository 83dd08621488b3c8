"""Operations that put the packages together, for the CLI and the agent."""
