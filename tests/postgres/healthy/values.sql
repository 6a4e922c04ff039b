-- Values of every built-in type, at the ends of their ranges.
CREATE TYPE estado AS ENUM ('a','b con espacio','ñ');
CREATE TYPE comp AS (x int, y text, z numeric(5,2)[]);
CREATE DOMAIN dcomp AS comp CHECK ((VALUE).x > 0);
CREATE FUNCTION par(int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1 % 2 = 0';
CREATE DOMAIN dpar AS int CHECK (public.par(VALUE));
CREATE DOMAIN dtxt AS text COLLATE "C" DEFAULT 'x' NOT NULL CHECK (length(VALUE) < 100);
CREATE TYPE rfloat AS RANGE (subtype = float8, subtype_diff = float8mi);
CREATE TABLE t (
 id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
 m money, x xml, j json, jb jsonb, tv tsvector, tq tsquery, i4r int4range, nr numrange, tsr tstzrange, i4m int4multirange, tsm tstzmultirange,
 ac comp[], dc dcomp, ad dpar[], dt dtxt, e estado, ae estado[], b1 bit(5), bv varbit, ip inet, ci cidr, ma macaddr, ma8 macaddr8,
 iv interval, iv2 interval day to second(2), d date, ts timestamp, tsz timestamptz(3), tm time, tmz timetz, n numeric, n2 numeric(10,3), f4 float4, f8 float8,
 lsn pg_lsn, x8 xid8, xi xid, o oid, rc regclass, rt regtype, rp regprocedure, rr regrole, rn regnamespace, rcf regconfig, u uuid, ba bytea, c1 "char", c5 char(5), nm name, p point, l line, ls lseg, bx box, pa path, po polygon, ci2 circle, jp jsonpath, sn pg_snapshot, ti tid, ci3 cid, rf rfloat, rfm int8range[], bo bool, ov oidvector, iv3 int2vector, ref refcursor, rcol regcollation, a2 text[][], snn txid_snapshot);
INSERT INTO t (m,x,j,jb,tv,tq,i4r,nr,tsr,i4m,tsm,ac,dc,ad,dt,e,ae,b1,bv,ip,ci,ma,ma8,iv,iv2,d,ts,tsz,tm,tmz,n,n2,f4,f8,lsn,x8,xi,o,rc,rt,rp,rr,rn,rcf,u,ba,c1,c5,nm,p,l,ls,bx,pa,po,ci2,jp,sn,ti,ci3,rf,rfm,bo,ov,iv3,ref,rcol,a2,snn) VALUES
 (-92233720368547758.08,'<a b="1">x</a>','{"a": 1,  "a":2}','{"b":[1,null,"x"]}','''a b'':1A,2 c','a & (b | !c:*A)','[1,5)','(,1.5]','["2020-01-01 00:00+00",infinity)','{[1,2),[5,9)}','{}',
  ARRAY[ROW(1,'a,"b\',ARRAY[1.5,NULL]),NULL,ROW(NULL,NULL,NULL)]::comp[],ROW(1,'',NULL),'{2,4}','','b con espacio','{a,ñ,NULL}','10101','','10.0.0.1/8','10.0.0.0/8','08:00:2b:01:02:03','08:00:2b:01:02:03:04:05',
  '-178956970 years -8 mons +2147483647 days -2562047787:59:59','1 day 00:00:01.239','infinity','-infinity','infinity','24:00:00','23:59:59.999999-15:59','NaN',NULL,'-0','-0',
  'FFFFFFFF/FFFFFFFF','18446744073709551615','4294967295','4294967295','t','integer','par(int)','postgres','public','simple','00000000-0000-0000-0000-000000000000','\x00ff5c0a','a','ab','nombre','(-0,1e308)','{1,2,3}','[(0,0),(1,1)]','(1,1),(0,0)','[(0,0),(1,1)]','((0,0),(1,1),(1,0))','<(0,0),-0>','$.a[*] ? (@ > 1)','10:20:10,14,15','(0,1)','7','[1.5,NaN]','{"[1,2)",empty}',true,'1 2 3','1 2','cur','"C"','{{a,b},{NULL,"NULL"}}','10:20:10,14,15'),
 ('1','text',' null ','null','','',' empty ','empty','empty','{}','{(,)}','{}',NULL,'{}',' x ','ñ','[0:1]={a,a}','00000','1','::1','::/0','00:00:00:00:00:00','00:00:00:00:00:00:00:00','0','0','4713-01-01 BC','4713-01-01 00:00:00 BC','0001-12-31 23:59:59.999 BC','00:00','00:00+15','1e131071','-0.001','NaN','-Infinity','0/0','0','0','0','pg_class','int[]','lower(text)','0','0','0','ffffffff-ffff-ffff-ffff-ffffffffffff','','','','','(NaN,Infinity)','{1,0,0}','[(0,0),(0,0)]','(0,0),(0,0)','((0,0))','((0,0))','<(0,0),0>','strict $','1:1:','(4294967295,65535)','0','empty','{}',false,'','','','0','{}','1:1:'),
 ('0',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,E'\t\\N\n\r\\.',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'-Infinity',1,1.17549435e-38,4.9406564584124654e-324,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,E'\\\\.',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE nada (); INSERT INTO nada DEFAULT VALUES; INSERT INTO nada DEFAULT VALUES;
CREATE TABLE vacia (a int);
