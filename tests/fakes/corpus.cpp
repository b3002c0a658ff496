// corpus: the smuggling corpus of the units as JSON lines, for the integration test: bytes in
// hexadecimal, and what is expected of them.
#include "core/fault.hpp"
#include "tests/proxy/smuggling_corpus.hpp"

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace {

std::string hex(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) {
    const auto value = static_cast<unsigned char>(byte);
    text.push_back("0123456789abcdef"[value >> 4U]);
    text.push_back("0123456789abcdef"[value & 15U]);
  }
  return text;
}

std::string list(const std::vector<std::string>& texts) {
  std::string out = "[";
  for (const auto& text : texts) out += (out.size() > 1 ? ",\"" : "\"") + hex(text) + '"';
  return out + "]";
}

}  // namespace

int main() {
  for (const auto& one : rooster::proxy::smuggling_corpus()) {
    const auto text = rooster::describe(one.fault);
    std::printf(
        "{\"name\":\"%s\",\"bytes\":\"%s\",\"fault\":\"%s\",\"status\":%u,\"in_body\":%s,"
        "\"must_contain\":%s,\"must_lack\":%s}\n",
        hex(one.name).c_str(), hex(one.bytes).c_str(), std::string(text.token).c_str(),
        unsigned{text.status}, one.in_body ? "true" : "false", list(one.must_contain).c_str(),
        list(one.must_lack).c_str());
  }
  return 0;
}
