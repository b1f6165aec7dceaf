"""Ways of labelling images nobody labelled: distances, clusters, reliability, transport, and how good it came out.

Only ``quality`` reads who is truly on an image, and only to report.
"""
