"""The pages of the web UI, one module for each subject; each lists its routes in ``ROUTES``."""
