// Any bytes as a client's HTTP/2 frames: each request they make means the same as HTTP/1.1 text,
// field by field, or is refused; nothing of a field's value becomes a line of its own.
#include "proxy/h2_head.hpp"
#include "proxy/request_head.hpp"

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using namespace rooster::proxy;

void require(bool holds) {
  if (!holds) std::abort();
}

struct Block {
  H2HeadReader reader;
  std::vector<std::pair<std::string, std::string>> fields;
};

std::string text_of(const std::uint8_t* bytes, std::size_t size) {
  return {reinterpret_cast<const char*>(bytes), size};
}

int begin(nghttp2_session*, const nghttp2_frame*, void* user) {
  auto& block = *static_cast<Block*>(user);
  block.reader.begin();
  block.fields.clear();
  return 0;
}

int field(nghttp2_session*, const nghttp2_frame*, const std::uint8_t* name, std::size_t name_size,
          const std::uint8_t* value, std::size_t value_size, std::uint8_t, void* user) {
  auto& block = *static_cast<Block*>(user);
  block.fields.emplace_back(text_of(name, name_size), text_of(value, value_size));
  block.reader.add(block.fields.back().first, block.fields.back().second);
  return 0;
}

void check(Block& block, bool has_body) {
  const H2HeadReader::Result made = block.reader.finish(has_body, 1);
  if (made.fault != rooster::Fault::None) return;
  RequestHead head;
  const Parsed parsed = parse_request_head(made.text, head);
  if (parsed.status != ParseStatus::Complete) {
    require(parsed.status == ParseStatus::Invalid);
    return;
  }
  require(head.head_bytes == made.text.size());
  std::size_t expected = 1;  // host
  bool has_cookie = false;
  bool has_length = false;
  for (const auto& [name, value] : block.fields) {
    if (name == ":path") require(head.target == value);
    has_cookie = has_cookie || (name == "cookie" && !value.empty());
    has_length = has_length || name == "content-length";
    const bool is_ours = name.starts_with(':') || name == "host" || name == "cookie" ||
                         (made.is_extended_connect && name == "sec-websocket-key");
    if (!is_ours) ++expected;
  }
  expected += has_cookie ? 1 : 0;
  if (made.is_extended_connect) {
    expected += 3;
  } else if (has_body && !has_length) {
    ++expected;
  }
  require(head.field_count == expected);
}

int frame(nghttp2_session*, const nghttp2_frame* got, void* user) {
  if (got->hd.type != NGHTTP2_HEADERS || got->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
  check(*static_cast<Block*>(user), (got->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0);
  return 0;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Block block;
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, begin);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, field);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, frame);
  nghttp2_option* option = nullptr;
  nghttp2_option_new(&option);
  nghttp2_option_set_no_recv_client_magic(option, 1);
  nghttp2_session* session = nullptr;
  nghttp2_session_server_new2(&session, callbacks, &block, option);
  const nghttp2_settings_entry connect{NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1};
  nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, &connect, 1);
  constexpr std::string_view kMagic = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (bytes.starts_with(kMagic)) bytes.remove_prefix(kMagic.size());
  constexpr std::string_view kSettings("\0\0\0\4\0\0\0\0\0", 9);
  std::string input(kSettings);
  input += bytes;
  nghttp2_session_mem_recv(session, reinterpret_cast<const std::uint8_t*>(input.data()),
                           input.size());
  nghttp2_session_del(session);
  nghttp2_option_del(option);
  nghttp2_session_callbacks_del(callbacks);
  return 0;
}
