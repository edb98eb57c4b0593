"""Files inside files: archives, packages, encodings.

This package knows nothing of rules and images.
"""

from auditor.extract.member_extractor import ExtractedContent, MemberExtractor

__all__ = ["ExtractedContent", "MemberExtractor"]
