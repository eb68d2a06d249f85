"""Pages, figures and tables drawn from plain arrays and strings; nothing here knows a file format of the pipeline."""
