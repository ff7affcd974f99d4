"""The Functions host for one machine: serves the project's functions by the rules of the real host."""

from local.functions_host.app import create_app, create_runner
from local.functions_host.functions import LoadedFunction, LoadError, apply_settings, load

__all__ = ["LoadError", "LoadedFunction", "apply_settings", "create_app", "create_runner", "load"]
