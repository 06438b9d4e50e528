"""Benchmarks: every figure of the documentation, measured on the real stack."""
