"""How much of a hostile input is read before it is refused. All sizes are in bytes."""

# Go's archive/tar, which engines use, refuses larger extension headers.
MAX_EXTENSION_HEADER = 1 << 20
MAX_HEADER_GROUP = 4 << 20
MAX_PATH = 4096  # Linux PATH_MAX
MAX_ENTRY = 1 << 60  # one file; offsets of what follows it must fit into 63 bits
MAX_ENTRIES = 4_000_000

MAX_UNCOMPRESSED = 256 << 30
# Times as much as went in, from how many bytes on: a file of zeros is honest, and nothing honest goes on so for long.
# Deflate can't exceed 1032:1; xz, bzip2 and zstd can.
MAX_RATIOS = ((1 << 30, 1100), (4 << 30, 200))

MAX_ZSTD_WINDOW = 128 << 20  # what the zstd command line accepts unasked
MAX_XZ_MEMORY = 128 << 20  # for decoding; `xz -9` needs 65 MiB

MAX_DOCUMENT = 32 << 20  # one manifest, config or index
MAX_DOCUMENTS = 128 << 20  # all of an archive together
