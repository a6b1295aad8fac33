"""What the makers of golden JSON files share: writing a file, or comparing with the one that is kept."""
import sys


def write_or_compare(path, text, summary):
    """With --write writes the file. Returns an exit code: 1 where the kept file is another one."""
    print(f"{summary}, {len(text)} bytes", file=sys.stderr)
    if "--write" in sys.argv[1:]:
        path.write_text(text)
    elif path.read_text() != text:
        print(f"error: {path} is not what this script generates; do: run it with --write and read the difference", file=sys.stderr)
        return 1
    return 0
