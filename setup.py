"""What setup.cfg cannot say: packages are found, and the folder weights/ is one more."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["anomalycli", "anomalycli.*"]), "anomalycli.bundled"])
