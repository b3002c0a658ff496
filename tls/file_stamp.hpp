// FileStamp: enough of a file's status to know that it has not changed; and how tls opens its
// files.
#pragma once

#include "core/descriptor.hpp"
#include "core/error.hpp"

#include <cstdint>
#include <functional>
#include <string>

namespace rooster::tls {

struct FileStamp {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::int64_t size = 0;
  std::int64_t modified_ns = 0;
  std::int64_t changed_ns = 0;
  friend bool operator==(const FileStamp&, const FileStamp&) = default;
};

/// Opens a file for reading. The keeper's passed descriptors fit here, where the server itself may
/// not read a key.
using OpenFile = std::function<Result<Descriptor>(const std::string& path)>;

/// open(2), with an error that names the file and the mend.
Result<Descriptor> open_file(const std::string& path);

/// A file's stamp and, unless the stamp equals `known`, its text.
struct FileText {
  FileStamp stamp;
  bool changed = true;
  std::string text;
};
/// Errors: Internal: unreadable, not a regular file, larger than 1 MiB.
Result<FileText> read_if_changed(const OpenFile& open, const std::string& path,
                                 const FileStamp& known);

}  // namespace rooster::tls
