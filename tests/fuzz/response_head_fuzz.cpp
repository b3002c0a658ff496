// Any bytes as an app's response head, for several kinds of requests: fed whole and in pieces it
// means the same, and what the client would get reads back with the same framing.
#include "proxy/client_head.hpp"
#include "proxy/response_head.hpp"

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

void check_rewritten(const ResponseHead& head, Asked asked, std::uint8_t client_minor) {
  ResponseRules rules;
  rules.client_minor = client_minor;
  rules.method = asked.method;
  rules.request_id = "id";
  rules.date = "now";
  std::vector<char> out(kMaxClientHeadBytes);
  const ClientHead made = to_client_head(head, rules, out.data(), out.size());
  require(made.bytes > 0);
  if (head.field_count + 7 > rooster::limits::kMaxFields) return;
  ResponseHead again;
  const Parsed parsed = parse_response_head({out.data(), made.bytes}, asked, again);
  if (parsed.status != ParseStatus::Complete) {
    require(made.bytes > rooster::limits::kMaxFieldBytes);
    return;
  }
  require(again.head_bytes == made.bytes && again.status == head.status);
  if (!head.is_interim()) require(again.body == made.body);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  const Asked table[] = {{Method::Get, Upgrade::None},
                         {Method::Head, Upgrade::None},
                         {Method::Get, Upgrade::WebSocket}};
  for (const Asked asked : table) {
    ResponseHead whole;
    const Parsed parsed = parse_response_head(bytes, asked, whole);
    ResponseHead head;
    Parsed same;
    for (std::size_t n = 1; n <= bytes.size() && same.status == ParseStatus::NeedMore; ++n)
      same = parse_response_head(std::string_view(bytes).substr(0, n), asked, head);
    require(same.status == parsed.status);
    if (parsed.status != ParseStatus::Complete) continue;
    require(head.head_bytes == whole.head_bytes && head.body == whole.body);
    require(head.reusable == whole.reusable);
    check_rewritten(whole, asked, 1);
    check_rewritten(whole, asked, 0);
  }
  return 0;
}
