"""Forms as browsers send them: urlencoded ones, and multipart for a file (RFC 7578)."""

from collections.abc import Mapping
from urllib.parse import parse_qsl

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, FormParser, parse_options_header

from shared.message import Request
from shared.portal.errors import BadForm, TooLarge

MAX_FORM_BYTES = 65_536
MAX_UPLOAD_BYTES = 5 * 1_048_576
_MAX_FIELDS = 50
_ROOM_FOR_PARTS = 16_384  # what multipart puts around a file

Form = Mapping[str, str]


def parse_form(request: Request) -> Form:
    """The fields of an urlencoded form of at most 64 KiB. Raises BadForm or TooLarge."""
    if len(request.body) > MAX_FORM_BYTES:
        raise TooLarge(f"A form has at most {MAX_FORM_BYTES // 1024} KB.")
    if parse_options_header(request.headers.get("content-type", ""))[0] != b"application/x-www-form-urlencoded":
        raise BadForm
    try:
        text = request.body.decode("ascii")
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict"))
    except ValueError:
        raise BadForm from None


def parse_upload(request: Request) -> tuple[Form, bytes]:
    """The fields of a multipart form and the content of its one file, which has at most 5 MiB.

    The content is empty when no file was chosen. Raises BadForm or TooLarge.
    """
    if len(request.body) > MAX_UPLOAD_BYTES + _ROOM_FOR_PARTS:
        raise TooLarge(f"A file has at most {MAX_UPLOAD_BYTES // 1_048_576} MB.")
    media_type, options = parse_options_header(request.headers.get("content-type", ""))
    if media_type != b"multipart/form-data" or not options.get(b"boundary"):
        raise BadForm
    fields: dict[str, str] = {}
    files: list[bytes] = []

    def on_field(field: Field) -> None:
        if len(fields) >= _MAX_FIELDS:
            raise BadForm("It has too many fields.")
        fields[(field.field_name or b"").decode()] = (field.value or b"").decode()

    def on_file(file: File) -> None:
        file.file_object.seek(0)
        files.append(file.file_object.read())

    parser = FormParser(
        "multipart/form-data",
        on_field,
        on_file,
        boundary=options[b"boundary"],
        config={"MAX_MEMORY_FILE_SIZE": len(request.body) + 1},  # never on disk
    )
    try:
        parser.write(request.body)
        parser.finalize()
    except (FormParserError, ValueError):
        raise BadForm from None
    finally:
        parser.close()
    if len(files) > 1:
        raise BadForm("It has more than one file.")
    return fields, files[0] if files else b""
