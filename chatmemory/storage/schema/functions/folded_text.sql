-- revision: 1; owner: app
-- Return a text in which different forms of a letter are the same: compatible forms (NFKC), capitals, digits, the vowel
-- points of Hebrew and Arabic and, unless p_accents is set, accents. It does not depend on the database's locale.
-- Punctuation and symbols other than ASCII become spaces.
create or replace function chatmemory.folded_text(p_text text, p_accents boolean) returns text
language plpgsql immutable strict security definer set search_path = pg_catalog, pg_temp as $$
declare
    -- Capitals that have no compatible form, each below its small letter.
    v_small constant text := 'æðøþđħłŋœŧαβγδεζηθικλμνξοπρστυφχψωђєѕіјљњћџабвгдежзиклмнопрстуфхцчшщъыьэюяҋҍҏґғҕҗҙқҝҟҡңҥҧҩҫҭ'
        'үұҳҵҷҹһҽҿӏӄӆӈӊӌӎӕәӡөӷӻӽӿԁԃԅԇԉԋԍԏԑԓԕԗԙԛԝԟԡԣԥԧԩԫԭԯաբգդեզէըթժիլխծկհձղճմյնշոչպջռսվտրցւփքօֆəɓɗɛƙɣ'
        'ɔß';
    v_capitals constant text := 'ÆÐØÞĐĦŁŊŒŦΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩЂЄЅІЈЉЊЋЏАБВГДЕЖЗИКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯҊҌҎҐҒҔҖҘҚҜҞҠҢҤҦҨҪҬ'
        'ҮҰҲҴҶҸҺҼҾӀӃӅӇӉӋӍӔӘӠӨӶӺӼӾԀԂԄԆԈԊԌԎԐԒԔԖԘԚԜԞԠԢԤԦԨԪԬԮԱԲԳԴԵԶԷԸԹԺԻԼԽԾԿՀՁՂՃՄՅՆՇՈՉՊՋՌՍՎՏՐՑՒՓՔՕՖƏƁƊƐƘƔ'
        'Ɔẞ';
    v_digits constant text := '٠١٢٣٤٥٦٧٨٩۰۱۲۳۴۵۶۷۸۹०१२३४५६७८९০১২৩৪৫৬৭৮৯'
        '๐๑๒๓๔๕๖๗๘๙໐໑໒໓໔໕໖໗໘໙០១២៣៤៥៦៧៨៩၀၁၂၃၄၅၆၇၈၉';
    v_separators constant text := '\u0080-\u00a9\u00ab-\u00b9\u00bb-\u00bf\u00d7\u00f7\u02c2-\u02df\u02e5-\u02ff\u0375'
        '\u0482\u055a-\u055f\u0589-\u058f\u05be\u05c0\u05c3\u05c6\u05f3\u05f4\u0600-\u060f\u061b-\u061f\u066a-\u066d'
        '\u06d4\u06dd\u06de\u06e9\u06fd\u06fe\u0700-\u070d\u0964\u0965\u0970\u09f2\u09f3\u0df4\u0e2f\u0e3f\u0e46\u0e4f'
        '\u0e5a\u0e5b\u0eaf\u0ec6\u0f01-\u0f17\u0f1a-\u0f1f\u0f34\u0f3a-\u0f3d\u104a-\u104f\u10fb\u1360-\u1368\u166d'
        '\u166e\u1680\u17d4-\u17db\u1800-\u180a\u2000-\u20cf\u2100-\u2bff\u2e00-\u2e7f\u3000-\u3004\u3008-\u3020'
        '\u3030-\u3037\u303b-\u303f\u30a0\u30fb\u3190-\u319f\ufe10-\ufe6f\ufffc\ufffd\U0001f000-\U0001faff';
    v_ignored constant text := '\u00ad\u061c\u180b-\u180f\u200b\u200d-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f'
        '\ufeff\U000e0001-\U000e01ef'
        '\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7'  -- of Hebrew
        '\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e8\u06ea-\u06ed';  -- of Arabic
    v_latin constant text := 'A-Za-z\u00aa-\u02ff\u1e00-\u1eff\u2c60-\u2c7f\ua720-\ua7ff';
    v_text text := regexp_replace(normalize(p_text, NFKD), '[' || v_ignored || ']+', '', 'g');
begin
    v_text := translate(lower(v_text collate "C"), v_capitals || v_digits || '’ʼیکς',
                        v_small || repeat('0123456789', 8) || '''''يكσ');
    v_text := regexp_replace(v_text, '([\u0400-\u052f])[\u0300\u0301]+', '\1', 'g');  -- stress; not the breve of й
    v_text := replace(v_text, 'е' || chr(776), 'е');
    v_text := regexp_replace(v_text, '([\u0370-\u03ff' || case when p_accents then '' else v_latin end
                             || '])[\u0300-\u036f]+', '\1', 'g');
    if not p_accents then
        v_text := translate(v_text, 'øđðłħŧı', 'oddlhti');
        v_text := replace(replace(replace(replace(v_text, 'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe'), 'þ', 'th');
    end if;
    v_text := regexp_replace(v_text, '([\u05d0-\u05ea])["''\u05f3\u05f4](?=[\u05d0-\u05ea])', '\1', 'g');  -- initials
    return normalize(regexp_replace(v_text, '[' || v_separators || ']', ' ', 'g'), NFC);
end $$;
