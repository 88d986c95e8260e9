"""Normalisation of text: disguised characters and encodings are undone before matching."""
