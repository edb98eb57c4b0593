"""How much of a hostile input is read before it is refused. All sizes are in bytes."""

# Go's archive/tar, which engines use, refuses larger extension headers.
MAX_EXTENSION_HEADER = 1 << 20
MAX_HEADER_GROUP = 4 << 20
MAX_PATH = 4096  # Linux PATH_MAX
MAX_ENTRIES = 4_000_000

MAX_UNCOMPRESSED = 256 << 30
# Deflate can't exceed 1032:1; zstd can, and nothing honest does so for long.
MAX_RATIO = 1100
RATIO_FREE = 1 << 30  # below this size no ratio is looked at: a layer of zeros is honest

MAX_ZSTD_WINDOW = 128 << 20  # what the zstd command line accepts unasked

MAX_DOCUMENT = 32 << 20  # one manifest, config or index
MAX_DOCUMENTS = 128 << 20  # all of an archive together
