"""The playground page: what do two checkpoints say about the user's sentence?"""
