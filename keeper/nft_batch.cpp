// The expressions are those that `nft --debug=netlink` shows for the same rules.
#include "keeper/nft_batch.hpp"

#include <algorithm>
#include <array>
#include <cerrno>

#include <arpa/inet.h>
#include <endian.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace rooster::keeper {
namespace {

constexpr std::size_t kElementsPerMessage = 512;        // an attribute's length has 16 bits
constexpr std::int32_t kArrivalPriority = -150;         // mangle: before the routing decision
constexpr std::uint64_t kCountedMilliseconds = 10'000;  // a silent source is forgotten after these
constexpr std::uint32_t kMaxCounted = 65'536;
constexpr std::uint32_t kFirst = NFT_REG_1;
constexpr std::uint32_t kSecondWord = NFT_REG32_01;
constexpr std::uint32_t kAfterAddress = NFT_REG_2;
constexpr std::uint32_t kSourceV6 = 8, kDestinationV6 = 24, kSourceV4 = 12, kDestinationV4 = 16;

template <class T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

}  // namespace

NftBatch::NftBatch(std::string_view table) : table_(table) {
  batch_.begin(NFNL_MSG_BATCH_BEGIN, 0);
  nfgenmsg head = {};
  head.res_id = htons(NFNL_SUBSYS_NFTABLES);
  batch_.add(head);
}

void NftBatch::begin(std::uint16_t type, std::uint16_t flags) {
  batch_.begin(static_cast<std::uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | type),
               static_cast<std::uint16_t>(NLM_F_ACK | flags));
  nfgenmsg head = {};
  head.nfgen_family = NFPROTO_INET;
  batch_.add(head);
}

void NftBatch::add_table() {
  begin(NFT_MSG_NEWTABLE, NLM_F_CREATE);
  batch_.attribute(NFTA_TABLE_NAME, table_);
}

void NftBatch::add_set(std::string_view name, std::uint32_t key_type, std::uint32_t key_bytes) {
  begin_set(name, key_type, key_bytes, 0);
}

void NftBatch::add_counting_set(std::string_view name, std::uint32_t key_type,
                                std::uint32_t key_bytes) {
  begin_set(name, key_type, key_bytes, NFT_SET_EVAL | NFT_SET_TIMEOUT);
  batch_.attribute(NFTA_SET_TIMEOUT, htobe64(kCountedMilliseconds));
  batch_.open(NFTA_SET_DESC);
  batch_.attribute(NFTA_SET_DESC_SIZE, htonl(kMaxCounted));
  batch_.close();
}

void NftBatch::begin_set(std::string_view name, std::uint32_t key_type, std::uint32_t key_bytes,
                         std::uint32_t flags) {
  begin(NFT_MSG_NEWSET, NLM_F_CREATE);
  batch_.attribute(NFTA_SET_TABLE, table_);
  batch_.attribute(NFTA_SET_NAME, name);
  batch_.attribute(NFTA_SET_FLAGS, htonl(flags));
  batch_.attribute(NFTA_SET_KEY_TYPE, htonl(key_type));
  batch_.attribute(NFTA_SET_KEY_LEN, htonl(key_bytes));
  batch_.attribute(NFTA_SET_ID, htonl(++sets_));
}

void NftBatch::add_chain(std::string_view name) {
  begin(NFT_MSG_NEWCHAIN, NLM_F_CREATE);
  batch_.attribute(NFTA_CHAIN_TABLE, table_);
  batch_.attribute(NFTA_CHAIN_NAME, name);
}

void NftBatch::add_arrival_chain(std::string_view name) {
  add_chain(name);
  batch_.open(NFTA_CHAIN_HOOK);
  batch_.attribute(NFTA_HOOK_HOOKNUM, htonl(NF_INET_PRE_ROUTING));
  batch_.attribute(NFTA_HOOK_PRIORITY, htonl(static_cast<std::uint32_t>(kArrivalPriority)));
  batch_.close();
  batch_.attribute(NFTA_CHAIN_POLICY, htonl(NF_DROP));
  batch_.attribute(NFTA_CHAIN_TYPE, std::string_view("filter"));
}

void NftBatch::change_elements(std::uint16_t type, std::string_view set,
                               const std::vector<NftKey>& keys) {
  for (std::size_t at = 0; at < keys.size(); at += kElementsPerMessage) {
    begin(type, type == NFT_MSG_NEWSETELEM ? NLM_F_CREATE : 0);
    batch_.attribute(NFTA_SET_ELEM_LIST_TABLE, table_);
    batch_.attribute(NFTA_SET_ELEM_LIST_SET, set);
    batch_.open(NFTA_SET_ELEM_LIST_ELEMENTS);
    for (std::size_t i = at; i < std::min(keys.size(), at + kElementsPerMessage); ++i) {
      batch_.open(NFTA_LIST_ELEM);
      batch_.open(NFTA_SET_ELEM_KEY);
      batch_.attribute(NFTA_DATA_VALUE, keys[i]);
      batch_.close();
      batch_.close();
    }
    batch_.close();
  }
}

void NftBatch::add_elements(std::string_view set, const std::vector<NftKey>& keys) {
  change_elements(NFT_MSG_NEWSETELEM, set, keys);
}

void NftBatch::remove_elements(std::string_view set, const std::vector<NftKey>& keys) {
  // The kernel refuses to remove what isn't there: so it is there first.
  change_elements(NFT_MSG_NEWSETELEM, set, keys);
  change_elements(NFT_MSG_DELSETELEM, set, keys);
}

void NftBatch::clear(std::string_view set) {
  begin(NFT_MSG_DELSETELEM, 0);
  batch_.attribute(NFTA_SET_ELEM_LIST_TABLE, table_);
  batch_.attribute(NFTA_SET_ELEM_LIST_SET, set);
}

int NftBatch::commit(NetlinkSocket& socket) {
  batch_.begin(NFNL_MSG_BATCH_END, 0);
  nfgenmsg head = {};
  head.res_id = htons(NFNL_SUBSYS_NFTABLES);
  batch_.add(head);
  return socket ? socket.send(batch_) : EBADF;
}

NftRule::NftRule(NftBatch& batch, std::string_view chain) : batch_(batch.batch_) {
  batch.begin(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
  batch_.attribute(NFTA_RULE_TABLE, batch.table_);
  batch_.attribute(NFTA_RULE_CHAIN, chain);
  batch_.open(NFTA_RULE_EXPRESSIONS);
}

NftRule::~NftRule() {
  batch_.close();
}

void NftRule::open(std::string_view expression) {
  batch_.open(NFTA_LIST_ELEM);
  batch_.attribute(NFTA_EXPR_NAME, expression);
  batch_.open(NFTA_EXPR_DATA);
}

void NftRule::close() {
  batch_.close();
  batch_.close();
}

void NftRule::number(std::uint16_t attribute, std::uint32_t value) {
  batch_.attribute(attribute, htonl(value));
}

void NftRule::data(std::uint16_t attribute, std::span<const std::byte> value) {
  batch_.open(attribute);
  batch_.attribute(NFTA_DATA_VALUE, value);
  batch_.close();
}

void NftRule::load_meta(std::uint32_t key, std::uint32_t to) {
  open("meta");
  number(NFTA_META_KEY, key);
  number(NFTA_META_DREG, to);
  close();
}

void NftRule::load_payload(std::uint32_t base, std::uint32_t offset, std::uint32_t size,
                           std::uint32_t to) {
  open("payload");
  number(NFTA_PAYLOAD_DREG, to);
  number(NFTA_PAYLOAD_BASE, base);
  number(NFTA_PAYLOAD_OFFSET, offset);
  number(NFTA_PAYLOAD_LEN, size);
  close();
}

void NftRule::compare(std::uint32_t operation, std::span<const std::byte> value) {
  open("cmp");
  number(NFTA_CMP_SREG, kFirst);
  number(NFTA_CMP_OP, operation);
  data(NFTA_CMP_DATA, value);
  close();
}

void NftRule::look_up(std::string_view set, bool inverted) {
  open("lookup");
  batch_.attribute(NFTA_LOOKUP_SET, set);
  number(NFTA_LOOKUP_SREG, kFirst);
  if (inverted) number(NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
  close();
}

void NftRule::mask(std::span<const std::byte> mask) {
  const std::vector<std::byte> nothing(mask.size());
  open("bitwise");
  number(NFTA_BITWISE_SREG, kFirst);
  number(NFTA_BITWISE_DREG, kFirst);
  number(NFTA_BITWISE_LEN, static_cast<std::uint32_t>(mask.size()));
  data(NFTA_BITWISE_MASK, mask);
  data(NFTA_BITWISE_XOR, nothing);
  close();
}

void NftRule::put(std::uint32_t to, std::span<const std::byte> value) {
  open("immediate");
  number(NFTA_IMMEDIATE_DREG, to);
  data(NFTA_IMMEDIATE_DATA, value);
  close();
}

void NftRule::verdict(std::int32_t code, std::string_view chain) {
  open("immediate");
  number(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
  batch_.open(NFTA_IMMEDIATE_DATA);
  batch_.open(NFTA_DATA_VERDICT);
  number(NFTA_VERDICT_CODE, static_cast<std::uint32_t>(code));
  if (!chain.empty()) batch_.attribute(NFTA_VERDICT_CHAIN, chain);
  batch_.close();
  batch_.close();
  close();
}

NftRule& NftRule::is_ipv6() {
  load_meta(NFT_META_NFPROTO, kFirst);
  compare(NFT_CMP_EQ, bytes_of(std::uint8_t{NFPROTO_IPV6}));
  return *this;
}

NftRule& NftRule::is_ipv4() {
  load_meta(NFT_META_NFPROTO, kFirst);
  compare(NFT_CMP_EQ, bytes_of(std::uint8_t{NFPROTO_IPV4}));
  return *this;
}

NftRule& NftRule::is_protocol(std::uint8_t protocol) {
  load_meta(NFT_META_L4PROTO, kFirst);
  compare(NFT_CMP_EQ, bytes_of(protocol));
  return *this;
}

NftRule& NftRule::arrived_on(std::uint32_t index) {
  load_meta(NFT_META_IIF, kFirst);
  compare(NFT_CMP_EQ, bytes_of(index));
  return *this;
}

NftRule& NftRule::destination_is(std::span<const std::byte> prefix) {
  load_payload(NFT_PAYLOAD_NETWORK_HEADER, kDestinationV6,
               static_cast<std::uint32_t>(prefix.size()), kFirst);
  compare(NFT_CMP_EQ, prefix);
  return *this;
}

NftRule& NftRule::destination_is_not(std::span<const std::byte> prefix) {
  load_payload(NFT_PAYLOAD_NETWORK_HEADER, kDestinationV6,
               static_cast<std::uint32_t>(prefix.size()), kFirst);
  compare(NFT_CMP_NEQ, prefix);
  return *this;
}

NftRule& NftRule::destination_v4_is(std::span<const std::byte> address) {
  load_payload(NFT_PAYLOAD_NETWORK_HEADER, kDestinationV4, 4, kFirst);
  compare(NFT_CMP_EQ, address);
  return *this;
}

NftRule& NftRule::destination_masked_is(std::span<const std::byte> bits,
                                        std::span<const std::byte> value) {
  load_payload(NFT_PAYLOAD_NETWORK_HEADER, kDestinationV6, 16, kFirst);
  mask(bits);
  compare(NFT_CMP_EQ, value);
  return *this;
}

NftRule& NftRule::port_is(std::uint16_t port) {
  load_payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, kFirst);
  compare(NFT_CMP_EQ, bytes_of(htons(port)));
  return *this;
}

NftRule& NftRule::icmp_type_is(std::uint8_t type) {
  is_protocol(IPPROTO_ICMPV6);
  load_payload(NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1, kFirst);
  compare(NFT_CMP_EQ, bytes_of(type));
  return *this;
}

NftRule& NftRule::is_no_first_packet() {
  constexpr std::uint8_t kSyn = 0x02, kSynOrAck = 0x12;
  is_protocol(IPPROTO_TCP);
  load_payload(NFT_PAYLOAD_TRANSPORT_HEADER, 13, 1, kFirst);
  mask(bytes_of(kSynOrAck));
  compare(NFT_CMP_NEQ, bytes_of(kSyn));
  return *this;
}

NftRule& NftRule::has_transparent_socket() {
  is_protocol(IPPROTO_TCP);
  for (const auto& [key, wanted] :
       {std::pair<std::uint32_t, std::uint8_t>{NFT_SOCKET_TRANSPARENT, 1},
        std::pair<std::uint32_t, std::uint8_t>{NFT_SOCKET_WILDCARD, 0}}) {
    open("socket");
    number(NFTA_SOCKET_KEY, key);
    number(NFTA_SOCKET_DREG, kFirst);
    close();
    compare(NFT_CMP_EQ, bytes_of(wanted));
  }
  return *this;
}

NftRule& NftRule::destination_in(std::string_view set) {
  load_payload(NFT_PAYLOAD_NETWORK_HEADER, kDestinationV6, 16, kFirst);
  look_up(set, false);
  return *this;
}

NftRule& NftRule::destination_and_port_in(std::string_view set) {
  load_payload(NFT_PAYLOAD_NETWORK_HEADER, kDestinationV6, 16, kFirst);
  load_payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, kAfterAddress);
  look_up(set, false);
  return *this;
}

NftRule& NftRule::source_not_in(std::string_view set) {
  load_meta(NFT_META_IIF, kFirst);
  load_payload(NFT_PAYLOAD_NETWORK_HEADER, kSourceV6, 16, kSecondWord);
  look_up(set, true);
  return *this;
}

NftRule& NftRule::source_v4_not_in(std::string_view set) {
  load_meta(NFT_META_IIF, kFirst);
  load_payload(NFT_PAYLOAD_NETWORK_HEADER, kSourceV4, 4, kSecondWord);
  look_up(set, true);
  return *this;
}

NftRule& NftRule::network_in(std::string_view set) {
  load_meta(NFT_META_IIF, kFirst);
  load_payload(NFT_PAYLOAD_NETWORK_HEADER, kDestinationV6, 6, kSecondWord);
  look_up(set, false);
  return *this;
}

NftRule& NftRule::at_most_each(std::string_view set, std::span<const std::byte> bits,
                               std::uint64_t count) {
  is_ipv6();
  load_payload(NFT_PAYLOAD_NETWORK_HEADER, kSourceV6, 16, kFirst);
  mask(bits);
  count_in(set, count);
  return *this;
}

NftRule& NftRule::at_most_each_v4(std::string_view set, std::uint64_t count) {
  is_ipv4();
  load_payload(NFT_PAYLOAD_NETWORK_HEADER, kSourceV4, 4, kFirst);
  count_in(set, count);
  return *this;
}

void NftRule::count_in(std::string_view set, std::uint64_t per_second) {
  open("dynset");
  batch_.attribute(NFTA_DYNSET_SET_NAME, set);
  number(NFTA_DYNSET_OP, NFT_DYNSET_OP_UPDATE);
  number(NFTA_DYNSET_SREG_KEY, kFirst);
  batch_.open(NFTA_DYNSET_EXPR);
  batch_.attribute(NFTA_EXPR_NAME, std::string_view("limit"));
  batch_.open(NFTA_EXPR_DATA);
  batch_.attribute(NFTA_LIMIT_RATE, htobe64(per_second));
  batch_.attribute(NFTA_LIMIT_UNIT, htobe64(1));
  number(NFTA_LIMIT_BURST, static_cast<std::uint32_t>(per_second));
  number(NFTA_LIMIT_TYPE, NFT_LIMIT_PKTS);
  batch_.close();
  batch_.close();
  close();
}

void NftRule::accept() {
  verdict(NF_ACCEPT);
}

void NftRule::drop() {
  verdict(NF_DROP);
}

void NftRule::go_to(std::string_view chain) {
  verdict(NFT_GOTO, chain);
}

void NftRule::set_mark(std::uint32_t mark) {
  put(kFirst, bytes_of(mark));
  open("meta");
  number(NFTA_META_KEY, NFT_META_MARK);
  number(NFTA_META_SREG, kFirst);
  close();
}

void NftRule::answer_here(std::uint32_t mark) {
  set_mark(mark);
  accept();
}

void NftRule::catch_port(std::uint32_t family, std::uint16_t port, std::uint32_t mark) {
  put(kFirst, bytes_of(htons(port)));
  open("tproxy");
  number(NFTA_TPROXY_FAMILY, family);
  number(NFTA_TPROXY_REG_PORT, kFirst);
  close();
  answer_here(mark);
}

void NftRule::catch_ipv6(std::uint16_t port, std::uint32_t mark) {
  is_protocol(IPPROTO_TCP);
  catch_port(NFPROTO_IPV6, port, mark);
}

void NftRule::catch_ipv4(std::uint16_t port, std::uint32_t mark) {
  is_protocol(IPPROTO_TCP);
  catch_port(NFPROTO_IPV4, port, mark);
}

void NftRule::reset() {
  is_protocol(IPPROTO_TCP);
  open("reject");
  number(NFTA_REJECT_TYPE, NFT_REJECT_TCP_RST);
  close();
}

void NftRule::unreachable(std::uint8_t code) {
  open("reject");
  number(NFTA_REJECT_TYPE, NFT_REJECT_ICMP_UNREACH);
  batch_.attribute(NFTA_REJECT_ICMP_CODE, code);
  close();
}

void NftRule::port_unreachable() {
  open("reject");
  number(NFTA_REJECT_TYPE, NFT_REJECT_ICMPX_UNREACH);
  batch_.attribute(NFTA_REJECT_ICMP_CODE, std::uint8_t{NFT_REJECT_ICMPX_PORT_UNREACH});
  close();
}

}  // namespace rooster::keeper
