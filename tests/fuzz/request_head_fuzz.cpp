// Any bytes as a request head: fed whole and in pieces it means the same, and what we would send to
// the app reads back as the same request.
#include "proxy/request_head.hpp"
#include "proxy/upstream_head.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace rooster::proxy;

void require(bool holds) {
  if (!holds) std::abort();
}

Parsed parse_in_pieces(std::string_view bytes, std::size_t piece, RequestHead& head) {
  Parsed parsed;
  for (std::size_t n = 0; n < bytes.size() && parsed.status == ParseStatus::NeedMore;) {
    n = std::min(bytes.size(), n + piece);
    parsed = parse_request_head(bytes.substr(0, n), head);
  }
  return parsed;
}

void check_rewritten(const RequestHead& head, bool trusted) {
  Forwarding way;
  way.peer_address = way.client_address = "192.0.2.1";
  way.trusted = trusted;
  way.port = 443;
  way.region = "gru";
  way.request_id = "id";
  way.default_host = "default.host";
  std::vector<char> out(kMaxUpstreamHeadBytes);
  const std::size_t size = to_upstream_head(head, way, out.data(), out.size());
  require(size > 0);
  if (head.field_count + 11 > rooster::limits::kMaxFields) return;
  if (size > rooster::limits::kMaxHeadBytes) return;
  RequestHead again;
  const Parsed parsed = parse_request_head({out.data(), size}, again);
  // Lists of ours and a trusted peer's may join to more than one field may hold.
  if (parsed.fault == rooster::Fault::HeadTooLarge) return;
  require(parsed.status == ParseStatus::Complete);
  require(again.head_bytes == size);
  require(again.body == head.body);
  require(again.method_text == head.method_text);
  require(again.path == head.path && again.query == head.query);
  require(again.host == (head.host.empty() ? way.default_host : head.host));
  require(again.upgrade == head.upgrade);
  require(again.expect_continue == head.expect_continue);
  require(!again.nominates && again.http_minor == 1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  RequestHead whole;
  const Parsed parsed = parse_request_head(bytes, whole);
  for (const std::size_t piece : {std::size_t{1}, std::size_t{7}}) {
    RequestHead head;
    const Parsed same = parse_in_pieces(bytes, piece, head);
    // Only the reason may differ: in pieces a line can be too long before it is seen to be wrong.
    require(same.status == parsed.status);
    if (parsed.status != ParseStatus::Complete) continue;
    require(head.head_bytes == whole.head_bytes && head.body == whole.body);
    require(head.field_count == whole.field_count && head.host == whole.host);
  }
  if (parsed.status != ParseStatus::Complete) return 0;
  require(whole.head_bytes <= bytes.size());
  check_rewritten(whole, false);
  check_rewritten(whole, true);
  return 0;
}
