"""The commands to the writing process: one frozen record each."""
