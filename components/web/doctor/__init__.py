"""The doctor: one call that looks at everything between this printer and its hub, and names a
remedy for what is wrong.

Nothing is imported here: `on_call` brings the rest in when it is asked for.
"""
