"""The commands of ``python -m icl_core``: each module reads options, calls the core and prints the result."""
