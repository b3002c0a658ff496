#include "proxy/static_path.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace rooster::proxy {
namespace {

// What lies behind the prefix, which ends where a segment ends; nullopt: another path.
std::optional<std::string_view> behind(std::string_view path, std::string_view prefix) {
  while (prefix.ends_with('/')) prefix.remove_suffix(1);
  if (!path.starts_with(prefix)) return std::nullopt;
  path.remove_prefix(prefix.size());
  if (path.empty()) return path;
  if (path.front() != '/') return std::nullopt;
  return path.substr(1);
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// One segment with its escapes undone; false: it can't be the name of a file.
bool append_segment(std::string_view segment, std::string& to) {
  const std::size_t begin = to.size();
  for (std::size_t at = 0; at < segment.size(); ++at) {
    char c = segment[at];
    if (c == '%') {
      if (segment.size() - at < 3) return false;
      const int high = hex_digit(segment[at + 1]);
      const int low = hex_digit(segment[at + 2]);
      if (high < 0 || low < 0) return false;
      c = static_cast<char>(high * 16 + low);
      at += 2;
    }
    if (c == '/' || c == '\\' || c == '\0') return false;
    to += c;
  }
  const std::string_view name = std::string_view(to).substr(begin);
  return !name.empty() && (name.front() != '.' || name == ".well-known");
}

}  // namespace

std::optional<std::string> static_path(std::span<const config::Static> statics,
                                       std::string_view path) {
  const config::Static* from = nullptr;
  std::string_view rest;
  for (const config::Static& one : statics) {
    if (one.folder.empty()) continue;
    const auto found = behind(path, one.url_prefix);
    if (!found || (from != nullptr && found->size() > rest.size())) continue;
    from = &one;
    rest = *found;
  }
  if (from == nullptr) return std::nullopt;
  std::string file = from->folder;
  while (!rest.empty()) {
    const std::size_t slash = rest.find('/');
    file += '/';
    if (!append_segment(rest.substr(0, slash), file)) return std::nullopt;
    rest = slash == std::string_view::npos ? std::string_view{} : rest.substr(slash + 1);
  }
  if (!path.ends_with('/') && file.size() > from->folder.size()) return file;
  // A folder is its index, where one is named.
  if (from->index_document.empty()) return std::nullopt;
  file += '/';
  if (!append_segment(from->index_document, file)) return std::nullopt;
  return file;
}

std::string_view content_type_of(std::string_view path) {
  using Type = std::pair<std::string_view, std::string_view>;
  static constexpr auto kTypes = std::to_array<Type>({
      {"aac", "audio/aac"},
      {"avif", "image/avif"},
      {"bmp", "image/bmp"},
      {"css", "text/css; charset=utf-8"},
      {"csv", "text/csv; charset=utf-8"},
      {"gif", "image/gif"},
      {"gz", "application/gzip"},
      {"htm", "text/html; charset=utf-8"},
      {"html", "text/html; charset=utf-8"},
      {"ico", "image/x-icon"},
      {"jpeg", "image/jpeg"},
      {"jpg", "image/jpeg"},
      {"js", "text/javascript; charset=utf-8"},
      {"json", "application/json"},
      {"jsonld", "application/ld+json"},
      {"m4a", "audio/mp4"},
      {"map", "application/json"},
      {"md", "text/markdown; charset=utf-8"},
      {"mjs", "text/javascript; charset=utf-8"},
      {"mp3", "audio/mpeg"},
      {"mp4", "video/mp4"},
      {"ogg", "audio/ogg"},
      {"otf", "font/otf"},
      {"pdf", "application/pdf"},
      {"png", "image/png"},
      {"svg", "image/svg+xml"},
      {"ttf", "font/ttf"},
      {"txt", "text/plain; charset=utf-8"},
      {"wasm", "application/wasm"},
      {"wav", "audio/wav"},
      {"webm", "video/webm"},
      {"webmanifest", "application/manifest+json"},
      {"webp", "image/webp"},
      {"woff", "font/woff"},
      {"woff2", "font/woff2"},
      {"xhtml", "application/xhtml+xml"},
      {"xml", "application/xml"},
      {"yaml", "application/yaml"},
      {"yml", "application/yaml"},
      {"zip", "application/zip"},
  });
  const std::size_t dot = path.rfind('.');
  std::string ending(dot == std::string_view::npos ? "" : path.substr(dot + 1));
  for (char& c : ending) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
  const auto found = std::ranges::lower_bound(kTypes, std::string_view(ending), {},
                                              [](const Type& t) { return t.first; });
  const bool is_known = found != kTypes.end() && found->first == ending;
  return is_known ? found->second : "application/octet-stream";
}

}  // namespace rooster::proxy
