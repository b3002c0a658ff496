// Any bytes as a query and as a response: a query is answered within its limit by a readable
// message; a response that was read is written and read again the same.
#include "dns/answer.hpp"
#include "dns/lookup.hpp"
#include "dns/name.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace rooster;
using namespace rooster::dns;

constexpr NetworkId kNetwork{0x278b0};

void require(bool holds) {
  if (!holds) std::abort();
}

Directory make_directory() {
  Directory directory;
  AppRecord app{.name = "web", .flycast = *IpAddress::parse("fdaa:2:78b0:0:1::a")};
  for (int i = 0; i < 60; ++i) {  // more than a datagram holds
    app.machines.push_back({.id = "m" + std::to_string(i),
                            .region = "gru",
                            .group = "app",
                            .state = MachineState::Started,
                            .address = IpAddress::v4(static_cast<std::uint32_t>(i)),
                            .metadata = {{"role", "primary"}}});
  }
  directory.put_app(kNetwork, app);
  directory.put_peer(kNetwork, {"laptop", *IpAddress::parse("fdaa:2:78b0:a7b:1:0:a:102")});
  return directory;
}

void check_query(const Directory& directory, std::string_view bytes) {
  const auto query = read_query(bytes);
  if (!query) return;
  for (const Carrier carrier : {Carrier::Datagram, Carrier::Stream}) {
    const std::size_t limit = Reply::limit(*query, carrier);
    std::vector<char> out(limit);
    Reply reply(out, *query, carrier);
    const Verdict verdict = answer(directory, kNetwork, *query, {}, reply);
    const std::size_t size = reply.finish();
    require(size <= limit);
    const auto response = read_response({out.data(), size});
    require(response.has_value());
    require(verdict == Verdict::Answered || !is_private_name(query->name));
    require(query->rcode != Rcode::NoError || answers(*response, bytes));
  }
}

bool is_same(const Record& a, const Record& b) {
  return a.owner == b.owner && a.type == b.type && a.klass == b.klass && a.ttl == b.ttl &&
         a.data == b.data;
}

void check_response(std::string_view bytes) {
  const auto response = read_response(bytes);
  if (!response) return;
  require(!to_text(*response).empty());
  (void)addresses_in(*response);
  (void)texts_in(*response);
  if (response->name.empty()) return;
  const std::string asked = *make_query({.name = name_to_text(response->name)}, response->id);
  const auto query = read_query(asked);
  require(query && query->name == response->name);
  std::vector<char> out(kMaxMessageBytes);
  Reply reply(out, *query, Carrier::Stream);
  std::size_t written = 0;
  for (const Section section : {Section::Answer, Section::Authority, Section::Additional}) {
    for (const Record& record : response->section(section)) {
      if (!write_record(reply, section, record, record.ttl)) return;  // larger without compression
      ++written;
    }
  }
  const auto again = read_response({out.data(), reply.finish()});
  require(again.has_value());
  for (std::size_t i = 0; i < again->sections.size(); ++i) {
    require(std::ranges::equal(again->sections[i], response->sections[i], is_same));
    written -= again->sections[i].size();
  }
  require(written == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Directory directory = make_directory();
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  check_query(directory, bytes);
  check_response(bytes);
  std::string_view stream = bytes;
  while (const auto message = take_frame(stream)) check_query(directory, *message);
  return 0;
}
