"""Builds the book: runs the notebooks (`execute`), puts pages together (`stage`) and makes HTML of them (`html`).

Chapters never import this package. It knows that there is a book; the rest of `helpers` does not.
"""
