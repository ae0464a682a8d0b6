"""Pages to look at in a browser: values in, HTML out; knows no video."""
