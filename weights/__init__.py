"""The models that come with anomalycli, installed as `anomalycli.bundled`."""
