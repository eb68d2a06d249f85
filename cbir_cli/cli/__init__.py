"""The command line: each command's file parses, reads, calls the library and writes."""
