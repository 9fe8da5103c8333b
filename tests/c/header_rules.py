"""Every function of the header says on which threads it may be called and who owns what it gives
out. Arguments: the header. Prints what does not."""

import re
import sys

header = open(sys.argv[1]).read()
functions = re.findall(r"((?://[^\n]*\n)+)((?:const )?\w+ \*?(qrt_\w+)\([^;]*\);)", header)
missing = []
for comment, signature, name in functions:
    comment = comment.lower()
    # The operation and the error are the caller's everywhere; the first page says so.
    given = set(re.findall(r"(qrt_\w+_t) \*\*", signature)) - {"qrt_op_t", "qrt_error_t"}
    # What is told of another function holds for this one as well.
    by_reference = "otherwise as" in comment
    if "thread" not in comment:
        missing.append(f"# {name}: no thread rule")
    if given and not by_reference and "own" not in comment:
        missing.append(f"# {name}: does not say who owns {', '.join(sorted(given))}")
    if signature.startswith(("const qrt_", "qrt_bytes_t")) and not re.search(
        r"borrow|hold|valid", comment
    ):
        missing.append(f"# {name}: does not say how long its answer is valid")

symbols = len(re.findall(r"^(?:const )?\w+ \*?qrt_\w+\(", header, re.MULTILINE))
if len(functions) != symbols:
    missing.append(f"# {symbols} functions, {len(functions)} with a comment")
print("\n".join(missing))
sys.exit(bool(missing))
