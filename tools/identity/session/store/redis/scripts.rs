//! The steps that must not be torn apart, as scripts that the store runs.
//!
//! Rows are compared by what they hold (`refresh_token`), decoded by the store; they are never
//! encoded there, since its encoder would turn times into floating point numbers.

/// The refresh token in the row at a key, or nothing.
macro_rules! holds {
    () => {
        r"
local function holds(key)
  local value = redis.pcall('GET', key)
  if type(value) ~= 'string' then return nil end
  local ok, row = pcall(cjson.decode, value)
  if not ok or type(row) ~= 'table' then return nil end
  return row['refresh_token']
end
"
    };
}

/// KEYS: lock, redeemed mark, row, index. ARGV: owner, lifetime in ms.
/// Answers: `ours`, `held` or `redeemed`; `row`, `gone` or `other`; the row.
pub(super) const CLAIM: &str = r"
local lock
if redis.call('EXISTS', KEYS[2]) == 1 then
  lock = 'redeemed'
else
  local owner = redis.call('GET', KEYS[1])
  if not owner then
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
    lock = 'ours'
  elseif owner == ARGV[1] then
    lock = 'ours'
  else
    lock = 'held'
  end
end
if redis.call('SISMEMBER', KEYS[4], KEYS[3]) == 0 then return {lock, 'gone', ''} end
local row = redis.pcall('GET', KEYS[3])
if not row then return {lock, 'gone', ''} end
if type(row) ~= 'string' then return {lock, 'other', ''} end
return {lock, 'row', row}
";

/// KEYS: lock, redeemed mark, then row, index and user's set of each row.
/// ARGV: owner, redeemed refresh token, life of the mark in ms or 0, then value and life in ms or 0
/// of each row. Answers how many rows were replaced, or -1.
///
/// A set that is none fails nothing: once a row is written, the mark must be, too.
pub(super) const WRITE: &str = concat!(
    holds!(),
    r"
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
local replaced = 0
for i = 0, (#KEYS - 2) / 3 - 1 do
  local row, index, user = KEYS[i * 3 + 3], KEYS[i * 3 + 4], KEYS[i * 3 + 5]
  local value, life = ARGV[i * 2 + 4], tonumber(ARGV[i * 2 + 5])
  if holds(row) == ARGV[2] then
    if life > 0 then
      redis.call('SET', row, value, 'PX', ARGV[i * 2 + 5])
    else
      redis.call('SET', row, value)
    end
    if redis.pcall('SISMEMBER', index, row) == 1 then
      local left = redis.call('PTTL', index)
      if life == 0 then
        redis.call('PERSIST', index)
      elseif left ~= -1 and left < life then
        redis.call('PEXPIRE', index, ARGV[i * 2 + 5])
      end
    end
    if user ~= row then redis.pcall('SADD', user, row) end
    replaced = replaced + 1
  end
end
if ARGV[3] ~= '0' then redis.call('SET', KEYS[2], '1', 'PX', ARGV[3]) end
return replaced
"
);

/// KEYS: lock, then row, index and user's set of each row. ARGV: owner, refresh token.
/// Answers how many rows were deleted, or -1.
pub(super) const DELETE: &str = concat!(
    holds!(),
    r"
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
local deleted = 0
for i = 0, (#KEYS - 1) / 3 - 1 do
  local row, index, user = KEYS[i * 3 + 2], KEYS[i * 3 + 3], KEYS[i * 3 + 4]
  if holds(row) == ARGV[2] then
    redis.call('DEL', row)
    redis.pcall('SREM', index, row)
    if user ~= row then redis.pcall('SREM', user, row) end
    deleted = deleted + 1
  end
end
return deleted
"
);

/// KEYS: lock. ARGV: owner.
pub(super) const RELEASE: &str = r"
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
";

/// KEYS: access token's row. ARGV: the keys' prefix, session.
/// Answers how many refresh tokens were taken out, or -1 if the access token leads nowhere.
///
/// A record names its session in one or two places; none may name another one. The keys further on
/// are found while walking; they carry the same prefix, and with it the same hash tag, on which
/// ToolHive's own scripts rely as well.
pub(super) const END_CLIENT: &str = r"
local function names(key)
  local value = redis.pcall('GET', key)
  if type(value) ~= 'string' then return nil, nil end
  local ok, record = pcall(cjson.decode, value)
  if not ok or type(record) ~= 'table' then return nil, nil end
  local session = record['session']
  if type(session) ~= 'table' then return nil, record end
  local own, claims, claimed = session['UpstreamSessionID'], session['JWTClaims'], nil
  if type(claims) == 'table' and type(claims['Extra']) == 'table' then
    claimed = claims['Extra']['tsid']
  end
  if type(own) ~= 'string' or own == '' then own = claimed end
  if type(claimed) == 'string' and claimed ~= own then return false, record end
  if type(own) ~= 'string' then return nil, record end
  return own, record
end
local session, access = names(KEYS[1])
if session ~= ARGV[2] or type(access['request_id']) ~= 'string' then return -1 end
local members = redis.pcall('SMEMBERS', ARGV[1] .. 'reqid:refresh:' .. access['request_id'])
if type(members) ~= 'table' or members['err'] then return -1 end
local ended = 0
for _, signature in ipairs(members) do
  local key = ARGV[1] .. 'refresh:' .. signature
  local owner = names(key)
  if owner == nil or owner == ARGV[2] then ended = ended + redis.call('DEL', key) end
end
return ended
";
