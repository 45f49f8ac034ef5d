"""The playground page: what do two checkpoints say about one's own sentence?"""
