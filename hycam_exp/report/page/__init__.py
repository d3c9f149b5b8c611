"""The report as one self-contained HTML file: overview, tables, figures, runs and samples, without a request."""

from pathlib import Path

from hycam_exp.report.page.content import PageContent
from hycam_exp.report.page.document import document
from hycam_exp.runtime.files import write_atomically

__all__ = ["PageContent", "document", "write"]


def write(path: Path, content: PageContent) -> bool:
    """Write the page; False where the file already has this content."""
    page = document(content).encode()
    if path.is_file() and path.read_bytes() == page:
        return False
    write_atomically(path, page)
    return True
