"""The thin package behind *From Language Models to Text Embeddings*.

Import the module that you need (``from helpers import embedding``); importing the package itself loads nothing,
so that a chapter depends on the modules that it names and on no others.
"""

__version__ = "0.1.0"
