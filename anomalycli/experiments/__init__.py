"""Several methods and seeds side by side, with tables and figures."""
