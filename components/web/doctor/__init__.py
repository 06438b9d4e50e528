"""The doctor: one call that looks at everything between this printer and its hub, and names a
remedy for what is wrong.
"""
