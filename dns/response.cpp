#include "dns/response.hpp"

#include "dns/name.hpp"

namespace rooster::dns {
namespace {

/// NAPTR (RFC 3403): order, preference and three strings stand before its name.
bool copy_naptr_head(Reader& reader, std::string& out) {
  const auto numbers = reader.bytes(4);
  if (!numbers) return false;
  out += *numbers;
  for (int i = 0; i < 3; ++i) {
    const auto length = reader.u8();
    if (!length) return false;
    const auto text = reader.bytes(*length);
    if (!text) return false;
    out += static_cast<char>(*length);
    out += *text;
  }
  return true;
}

/// The data with its names in full; `message` is needed for what they point at.
bool expand_data(std::string_view message, std::uint16_t type, std::size_t begin,
                 std::size_t length, std::string& out) {
  const auto names = names_in_data(type);
  Reader reader(message.substr(0, begin + length), begin);
  if (!names) {
    out = message.substr(begin, length);
    return true;
  }
  if (type == type::kNaptr) {
    if (!copy_naptr_head(reader, out)) return false;
  } else if (names->skip != 0) {
    const auto head = reader.bytes(names->skip);
    if (!head) return false;
    out = *head;
  }
  for (std::size_t i = 0; i < names->names; ++i) {
    if (!reader.name(out)) return false;
  }
  const auto rest = reader.bytes(begin + length - reader.at());
  if (!rest) return false;
  out += *rest;
  return type != type::kSoa || rest->size() == 20;
}

bool read_options(std::string_view options, Response& response) {
  Reader reader(options);
  while (!reader.at_end()) {
    const auto code = reader.u16();
    const auto length = reader.u16();
    if (!code || !length) return false;
    const auto content = reader.bytes(*length);
    if (!content) return false;
    if (*code != 15 || content->size() < 2) continue;
    response.explanation = *Reader(*content).u16();
    response.explanation_text = content->substr(2);
  }
  return true;
}

bool read_record(Reader& reader, std::string_view message, Section section, Response& response) {
  Record record;
  if (!reader.name(record.owner)) return false;
  const auto type = reader.u16();
  const auto klass = reader.u16();
  const auto ttl = reader.u32();
  const auto length = reader.u16();
  if (!type || !klass || !ttl || !length) return false;
  const std::size_t begin = reader.at();
  const auto data = reader.bytes(*length);
  if (!data) return false;
  if (*type == type::kOpt) {
    if (section != Section::Additional || response.edns || record.owner.size() != 1) return false;
    response.edns = Edns{.udp_bytes = *klass,
                         .version = static_cast<std::uint8_t>(*ttl >> 16),
                         .dnssec_ok = (*ttl & 0x8000) != 0};
    response.rcode = static_cast<std::uint16_t>(response.rcode | (*ttl >> 24) << 4);
    return read_options(*data, response);
  }
  record.type = *type;
  record.klass = *klass;
  record.ttl = *ttl;
  if (!expand_data(message, *type, begin, *length, record.data)) return false;
  response.section(section).push_back(std::move(record));
  return true;
}

}  // namespace

std::optional<NamesInData> names_in_data(std::uint16_t type) {
  switch (type) {
    case type::kNs:
    case type::kCname:
    case type::kPtr:
    case type::kDname:
    case 3:  // MD
    case 4:  // MF
    case 7:  // MB
    case 8:  // MG
    case 9:  // MR
      return NamesInData{0, 1};
    case type::kSoa:
    case 14:  // MINFO
    case 17:  // RP
      return NamesInData{0, 2};
    case type::kMx:
    case 18:  // AFSDB
    case 21:  // RT
      return NamesInData{2, 1};
    case 26:  // PX
      return NamesInData{2, 2};
    case type::kSrv:
      return NamesInData{6, 1};
    case type::kNaptr:
      return NamesInData{4, 1};  // and its strings
    default:
      return std::nullopt;
  }
}

std::optional<Response> read_response(std::string_view message) {
  if (message.size() < kHeaderBytes) return std::nullopt;
  Reader reader(message);
  Response response;
  response.id = *reader.u16();
  response.flags = *reader.u16();
  response.rcode = response.flags & flag::kRcodeMask;
  const std::uint16_t questions = *reader.u16();
  std::array<std::uint16_t, 3> counts{};
  for (auto& count : counts) count = *reader.u16();
  if ((response.flags & flag::kResponse) == 0 || questions > 1) return std::nullopt;
  if (questions == 1) {
    if (!reader.name(response.name)) return std::nullopt;
    const auto type = reader.u16();
    const auto klass = reader.u16();
    if (!type || !klass) return std::nullopt;
    response.type = *type;
    response.klass = *klass;
  }
  for (std::size_t i = 0; i < counts.size(); ++i) {
    for (int n = 0; n < counts[i]; ++n) {
      if (!read_record(reader, message, static_cast<Section>(i), response)) return std::nullopt;
    }
  }
  if (!reader.at_end()) return std::nullopt;
  return response;
}

bool write_record(Reply& reply, Section section, const Record& record, std::uint32_t ttl) {
  reply.begin(section, record.owner, record.type, ttl, record.klass);
  // Only the types of RFC 1035 may be written compressed.
  const auto names = names_in_data(record.type);
  if (!names || record.type > type::kTxt) {
    reply.bytes(record.data);
    return reply.end();
  }
  std::string_view data = record.data;
  reply.bytes(data.substr(0, names->skip));
  data.remove_prefix(names->skip);
  for (std::size_t i = 0; i < names->names; ++i) {
    const std::size_t length = Reader(data).plain_name()->size();
    reply.name(data.substr(0, length));
    data.remove_prefix(length);
  }
  reply.bytes(data);
  return reply.end();
}

}  // namespace rooster::dns
