"""Several runs side by side: one table and one picture, for runs that were measured alike and for no others.

``write.compare`` is the door. Needs the extra ``evaluation``, which training brings.
"""
