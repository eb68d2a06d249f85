"""Files: one module per kind of artifact holds its constants, its writer, its reader and, as docstring, its schema."""
