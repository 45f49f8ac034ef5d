"""The fusion page: does combining a TR-strong and a TL-strong checkpoint help, beyond ensembling?"""
