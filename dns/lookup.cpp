#include "dns/lookup.hpp"

#include "dns/directory.hpp"
#include "dns/name.hpp"

#include <fmt/format.h>

#include <array>
#include <cstring>
#include <utility>

namespace rooster::dns {
namespace {

void put16(std::string& out, std::size_t value) {
  out += static_cast<char>(value >> 8);
  out += static_cast<char>(value);
}

std::string flags_text(std::uint16_t flags) {
  constexpr auto kFlags = std::to_array<std::pair<std::uint16_t, std::string_view>>({
      {flag::kResponse, "qr"},
      {flag::kAuthoritative, "aa"},
      {flag::kTruncated, "tc"},
      {flag::kRecursionDesired, "rd"},
      {flag::kRecursionAvailable, "ra"},
      {flag::kAuthenticData, "ad"},
      {flag::kCheckingDisabled, "cd"},
  });
  std::string text;
  for (const auto& [bit, word] : kFlags) {
    if ((flags & bit) == 0) continue;
    text += ' ';
    text += word;
  }
  return text;
}

void add_section(std::string& out, std::string_view title, const std::vector<Record>& records) {
  if (records.empty()) return;
  out += fmt::format("\n;; {} SECTION:\n", title);
  for (const Record& record : records) {
    out +=
        fmt::format("{}\t{}\t{}\t{}\t{}\n", name_to_text(record.owner), record.ttl,
                    class_to_text(record.klass), type_to_text(record.type), data_to_text(record));
  }
}

void add_edns(std::string& out, const Response& response) {
  if (!response.edns) return;
  out += fmt::format("\n;; OPT PSEUDOSECTION:\n; EDNS: version: {}, flags:{}; udp: {}\n",
                     response.edns->version, response.edns->dnssec_ok ? " do" : "",
                     response.edns->udp_bytes);
  if (response.explanation != 0) {
    out += fmt::format("; EDE: {} ({})\n", response.explanation, response.explanation_text);
  }
}

}  // namespace

std::optional<std::string> make_query(const Question& question, std::uint16_t id) {
  const auto name = name_from_text(question.name);
  if (!name) return std::nullopt;
  std::string query;
  put16(query, id);
  put16(query, question.recursion_desired ? flag::kRecursionDesired : 0u);
  for (const unsigned count : {1U, 0U, 0U, question.udp_bytes != 0 ? 1U : 0U}) put16(query, count);
  query += *name;
  put16(query, question.type);
  put16(query, kClassIn);
  if (question.udp_bytes == 0) return query;
  query += '\0';
  put16(query, type::kOpt);
  put16(query, question.udp_bytes);
  put16(query, 0);  // extended rcode, version
  put16(query, question.dnssec_ok ? 0x8000u : 0u);
  put16(query, 0);
  return query;
}

bool answers(const Response& response, std::string_view query) {
  const auto asked = read_query(query);
  return asked && response.id == asked->id && response.type == asked->type &&
         response.klass == asked->klass && equal_folded(response.name, asked->name);
}

std::string frame(std::string_view message) {
  std::string framed;
  framed.reserve(message.size() + 2);
  put16(framed, message.size());
  framed += message;
  return framed;
}

std::optional<std::string_view> take_frame(std::string_view& stream) {
  Reader reader(stream);
  const auto length = reader.u16();
  if (!length) return std::nullopt;
  const auto message = reader.bytes(*length);
  if (message) stream.remove_prefix(reader.at());
  return message;
}

std::string reverse_name(const IpAddress& address) {
  std::string name;
  const auto& bytes = address.bytes();
  if (address.is_v4()) {
    return fmt::format("{}.{}.{}.{}.in-addr.arpa", bytes[15], bytes[14], bytes[13], bytes[12]);
  }
  for (std::size_t i = bytes.size(); i-- > 0;) {
    name += fmt::format("{:x}.{:x}.", bytes[i] & 15, bytes[i] >> 4);
  }
  return name + "ip6.arpa";
}

std::vector<IpAddress> addresses_in(const Response& response) {
  std::vector<IpAddress> addresses;
  for (const Record& record : response.section(Section::Answer)) {
    if (record.type != type::kA && record.type != type::kAaaa) continue;
    if (const auto address = IpAddress::parse(data_to_text(record))) addresses.push_back(*address);
  }
  return addresses;
}

std::vector<std::string> texts_in(const Response& response) {
  std::vector<std::string> texts;
  for (const Record& record : response.section(Section::Answer)) {
    if (record.type != type::kTxt) continue;
    std::string& text = texts.emplace_back();
    Reader reader(record.data);
    while (const auto length = reader.u8()) {
      const auto part = reader.bytes(*length);
      if (!part) break;
      text += *part;
    }
  }
  return texts;
}

std::vector<std::string> short_lines(const Response& response) {
  std::vector<std::string> lines;
  for (const Record& record : response.section(Section::Answer)) {
    lines.push_back(data_to_text(record));
  }
  return lines;
}

std::string to_text(const Response& response) {
  const auto count = [&](Section section) { return response.section(section).size(); };
  std::string out = fmt::format(
      ";; ->>HEADER<<- opcode: QUERY, status: {}, id: {}\n"
      ";; flags:{}; QUERY: {}, ANSWER: {}, AUTHORITY: {}, ADDITIONAL: {}\n",
      rcode_to_text(response.rcode), response.id, flags_text(response.flags),
      response.name.empty() ? 0 : 1, count(Section::Answer), count(Section::Authority),
      count(Section::Additional) + (response.edns ? 1 : 0));
  add_edns(out, response);
  if (!response.name.empty()) {
    out += fmt::format("\n;; QUESTION SECTION:\n;{}\t\t{}\t{}\n", name_to_text(response.name),
                       class_to_text(response.klass), type_to_text(response.type));
  }
  add_section(out, "ANSWER", response.section(Section::Answer));
  add_section(out, "AUTHORITY", response.section(Section::Authority));
  add_section(out, "ADDITIONAL", response.section(Section::Additional));
  return out;
}

}  // namespace rooster::dns
