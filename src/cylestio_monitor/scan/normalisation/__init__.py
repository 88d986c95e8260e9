"""Normalisation of text: disguised characters and encodings are decoded before matching."""
