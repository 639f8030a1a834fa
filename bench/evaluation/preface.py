PREFACE = """
# How good are the findings?
"""
