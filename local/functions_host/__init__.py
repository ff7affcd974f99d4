"""The Functions host for one machine: serves the project's functions by the rules of the real host."""
