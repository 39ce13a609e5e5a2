"""Files for the programs that run an engine, made from its real inputs and outputs."""
