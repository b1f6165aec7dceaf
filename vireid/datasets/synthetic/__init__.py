"""Drawn pedestrians in two modalities: seeded, licence-clean, in the layouts of the field's datasets.

For running the system end to end and for comparing methods; never evidence of accuracy on real people.
"""
