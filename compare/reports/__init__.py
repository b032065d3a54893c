"""Reports of a comparison, in the forms of `registry`. None is imported before it is asked for."""

from .form import Part, ReportForm, Settings
from .registry import FORMATS, FORMS, SEVERAL, part_of, whole

__all__ = ["FORMATS", "FORMS", "SEVERAL", "Part", "ReportForm", "Settings", "part_of", "whole"]
